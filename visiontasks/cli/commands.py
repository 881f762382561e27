"""The commands and what they do."""

COMMANDS = {  # the text before the colon is the description of the command
    "init": "Look at a folder of images and write a config that trains on it: init FOLDER",
    "fit": "Train a model: fit -c configs/quickstart.yaml",
    "doctor": "Check the images and labels of a config for faults before a training: doctor -c CONFIG",
    "validate": "Compute metrics on the validation split: validate --ckpt_path RUN",
    "test": "Compute metrics on the test split, also per class: test --ckpt_path RUN",
    "probe": "Solve the heads in closed form on the frozen backbone, in one pass: probe -c CONFIG",
    "preview": "Draw augmented training images with their targets: preview -c CONFIG",
    "lr_find": "Try rising learning rates and report where the loss falls fastest: lr_find -c CONFIG",
    "study": "Train several configs in turn and compare them: study STUDY.yaml",
    "inspect": "Look inside a network: inspect layers|features|filters|maximize|attack|explain CHECKPOINT_OR_CONFIG",
    "predict": "Predict images with a trained model: predict MODEL FILE_OR_FOLDER... --output DIR",
    "demo": "Try a trained model on a local page: demo MODEL",
    "evaluate": "Compute metrics with intervals for one model, or compare two: evaluate MODEL [MODEL]",
    "report": "Write a page in HTML about one run, or compare several: report RUN_DIR [RUN_DIR ...]",
    "export": "Write a checkpoint as one file and check its predictions: export CHECKPOINT --format onnx|pt2",
    "detect": "Find all objects with a model trained on Windows, or predict: detect CHECKPOINT FILE... --output DIR",
    "configs": "List the configs that are installed with the package, or copy one: configs --copy NAME",
}


TRAINING = """usage: visiontasks {command} -c CONFIG [-c CONFIG ...] [--KEY VALUE ...]

{description}.

Every key of a config is also an argument. Later files and arguments override earlier ones. The most important keys:

  -c, --config FILE            a config, such as configs/classification/folder.yaml
  --ckpt_path PATH             the checkpoint to resume or to test, or the directory of its run
  --data.dataset.root PATH     the folder of the images
  --data.image_size, --data.batch_size, --data.augment, --data.num_workers
  --model.backbone.name NAME   any network of timm
  --model.backbone.pretrained  true, bundled, false or a file of weights
  --model.optimizer.lr, --model.schedule, --model.weights
  --trainer.max_epochs, --trainer.devices, --trainer.precision, --trainer.logger false
  --early_stopping, --seed_everything, --imports MODULE
  --report false               write no report.html at the end of a fit or test

  --data.dataset.help CLASS, --model.help CLASS   explain the keys of a class
  --print_config               print the complete config
  --help_all                   list every key with its type and default, which takes some seconds
  -v, --verbose                also show what Lightning and W&B say about themselves
  --debug                      show the traceback of an error
"""
