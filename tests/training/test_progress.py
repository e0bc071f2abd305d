from miaobi.training.progress import Reporter, duration


def test_durations_read_as_people_say_them():
    assert [duration(seconds) for seconds in (4.25, 200, 3720)] == ["4.2 s", "3 min 20 s", "1 h 02 min"]


def test_a_pipe_gets_a_line_an_evaluation_on_standard_error(capsys):
    with Reporter(shown=True) as reporter:
        reporter.start(0, 100)
        reporter.update(50, 1.5)
        reporter.evaluated(50, "bits_per_byte", 2.5, best=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "step 50 of 100, bits_per_byte 2.5 (best)" in err
    assert "steps/s" in err
    assert "left" in err


def test_silence_is_silent(capsys):
    with Reporter(shown=False) as reporter:
        reporter.say("hello")
        reporter.start(0, 10)
        reporter.update(5, 1.0)
        reporter.evaluated(5, "f", 1.0, best=False)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_with_rate_time_left_and_figure(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with Reporter(shown=True) as reporter:
        reporter.start(0, 10)
        reporter.update(5, 1.25)
        reporter.evaluated(5, "bits", 2.0, best=False)
        reporter.update(10, 1.0)
    err = capsys.readouterr().err
    for shown in ("10/10", "steps/s", "left", "loss 1", "bits 2"):
        assert shown in err
