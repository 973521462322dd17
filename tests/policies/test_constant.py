from motivation.policies import Always, Never


def test_never_and_always_ignore_the_loss():
    losses = [3.0, 2.0, 1.0, float('nan'), float('inf'), 5.0]
    assert [Never().update(loss) for loss in losses] == [False] * 6
    assert [Always().update(loss) for loss in losses] == [True] * 6
