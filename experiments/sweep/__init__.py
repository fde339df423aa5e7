"""Many trials: the same for every experiment.

    experiment  an experiment as a list of trials: options, output folder, results
    jobs        what runs at a time, a trial or several as replicas, and how it is stopped
    here        all jobs, one after the other here or elsewhere:
    processes   in processes of their own
    on_ray      on a Ray cluster
    estimate    how long they should take
    progress    what is shown while they run
    cli         command lines from dataclasses, and errors in one line

The command of an experiment is its own module.
"""
