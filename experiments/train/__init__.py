"""One trial; knows no data, no model and no metric by name.

    trial      what is asked for: settings that all trainings share
    convex     settings of trials whose loss has one minimum
    task       what is trained: model, batches, loss, measurements
    loop       run(trial, folder): restore, step, record, save
    replicas   several trials as one stacked model
    records    the folder of a trial, written and read

`experiments.sweep` runs many of them.
"""
