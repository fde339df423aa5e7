"""Many trials: the same for every experiment.

sweep       an experiment as a list of trials: options, output folder, results
runner      trials one after the other here, or in processes of their own
on_ray      trials on a Ray cluster
estimate    how long they should take
progress    what is shown while they run
cli         command lines from dataclasses, and errors in one line
"""
