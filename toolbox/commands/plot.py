def command() -> None:
    """stub"""
