"""What is wrong before anything is spent: in a workflow, its keys and models, this machine."""
