"""Statistics of the toy claims."""


def share_of_heads(tables):
    """The share of heads of one replicate."""
    return tables["counts"]["share"].iloc[0]


def last_loss(tables):
    """The mean loss of the last tenth."""
    loss = tables["curve"]["loss"]
    return loss.iloc[-max(len(loss) // 10, 1) :].mean()


def loaded(tables):
    """A control: heads three times as often as tails."""
    counts = tables["counts"]
    return {"counts": counts.assign(share=counts["share"].where(counts["side"] != "head", 0.75))}
