"""The shared commands that read `outputs/`; none of them knows a study."""
