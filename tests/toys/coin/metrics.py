"""Statistics of the toy claims."""


def share_of_heads(tables):
    """The share of heads of one replicate."""
    return tables["counts"]["share"].iloc[0]


def last_loss(tables):
    """The mean loss of the last tenth."""
    loss = tables["curve"]["loss"]
    return loss.iloc[-max(len(loss) // 10, 1) :].mean()
