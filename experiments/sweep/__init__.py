"""Many trials: the same for every experiment.

    experiment  which trials it consists of, its options and its command
    launch      all jobs, by one loop, in a pool:
    jobs        what runs at a time, a trial or several as replicas; the pool of this process
    processes   a pool of processes
    on_ray      a pool on a Ray cluster
    folder      the files of a sweep: settings, trials, results
    estimate    how long trials should take
    progress    what is shown while they run
    with_data   options of experiments whose data lie in a folder
    cli         command lines from dataclasses, and errors in one line

The command of an experiment is its own module.
"""
