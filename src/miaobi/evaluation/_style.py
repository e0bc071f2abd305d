"""The style sheet of report pages: light and dark, wide and narrow, nothing fetched."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1d1f21; --faint: #6b6f76; --line: #dedad2;
  --card: #ffffff; --accent: #a8321f; --code: #f1eee7; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e4df; --faint: #9a9da3; --line: #33373d;
  --card: #1e2125; --accent: #f08a6c; --code: #24282d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2.5rem 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
.faint, figcaption, .note { color: var(--faint); font-size: .85rem; }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(var(--cell, 8rem), 1fr)); }
.card { margin: 0; padding: .7rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  overflow-x: auto; }
.card img { display: block; max-width: 100%; }
.card audio { width: 100%; }
.card pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; font-size: .85rem; color: var(--faint); }
td.number, th.number { text-align: right; white-space: nowrap; }
code, pre.command { font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; }
pre.command { background: var(--code); border-radius: .4rem; padding: .6rem .8rem; margin: .2rem 0 .8rem;
  overflow-x: auto; user-select: all; }
details summary { cursor: pointer; color: var(--accent); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .4rem 0; font-size: .85rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 10px system-ui, sans-serif; fill: var(--faint); }
svg .curve { fill: none; stroke: var(--accent); stroke-width: 1.6; stroke-linejoin: round; }
svg .axis { stroke: var(--line); stroke-width: 1; }
svg circle { fill: var(--accent); }
"""
