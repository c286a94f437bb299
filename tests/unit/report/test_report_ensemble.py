import numpy as np

from hifuflow.report.figures.ensemble import PANELS, ensemble_distributions


def test_every_draw_is_shown_at_its_fraction():
    values = [3.0, 1.0, None, 2.0]
    content = {"draws": 4, **{name: {"values": values} for name, *_ in PANELS}}
    figure = ensemble_distributions({"paper": content, "mintime": content})
    marks = figure.findobj(lambda artist: artist.get_gid() == "mintime time_to_t90_s")[0]
    np.testing.assert_array_equal(marks.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(marks.get_ydata(), [0.25, 0.5, 0.75])
    volume = figure.findobj(lambda artist: artist.get_gid() == "paper damaged_normal_volume_m3")[0]
    np.testing.assert_array_equal(volume.get_xdata(), [1e6, 2e6, 3e6])
