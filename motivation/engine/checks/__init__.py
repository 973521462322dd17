"""What is looked at before a run trains: data, classes, targets, image sizes."""
