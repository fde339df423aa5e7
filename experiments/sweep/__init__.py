"""Many trials: the same for every experiment.

    experiment  which trials it consists of, its options and its command
    launch      all jobs, one after the other here or elsewhere:
    processes   in processes of their own
    on_ray      on a Ray cluster
    jobs        what runs at a time, a trial or several as replicas, and how it is stopped
    folder      what a sweep leaves: settings, trials, results
    estimate    how long trials should take
    progress    what is shown while they run
    cli         command lines from dataclasses, and errors in one line

The command of an experiment is its own module.
"""
