"""How metrics are written."""

from motivation.report.metric_units import metric_lines


def test_metrics_have_the_forms_of_the_report_and_single_classes_one_line():
    metrics = {'base/accuracy/top1': 50.0, 'base/loss/cross_entropy': 1.23456, 'base/f1/class/b, c': 12.0}
    metrics['base/f1/class/d9'] = 3.5
    assert metric_lines(metrics) == [
        'base/accuracy/top1: 50.00',
        'base/loss/cross_entropy: 1.235',
        "base/f1 of single classes: 'b, c' 12.00, 'd9' 3.50",
    ]
    (line,) = metric_lines({f'base/f1/class/{name}': float(place) for place, name in enumerate('lkjihgfedcba')})
    assert line.startswith('base/f1 of single classes, the 10 lowest of 12: l 0.00, k 1.00, ') and ' c 9.00' in line
    assert ' a ' not in line.partition(': ')[2]
