"""The look of a report: one style sheet, light and dark, for a desk and a phone."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--bg:#f4f6f8;--card:#fff;--ink:#17212b;--soft:#5c6b7a;--line:#dfe5eb;--track:#edf1f5;
--blue:#2563a8;--green:#15803d;--red:#c42b2b;--amber:#b45309;--violet:#6d3fc0;--teal:#0f766e;
--greenbg:#e3f4e8;--redbg:#fbe6e6;--amberbg:#fdf0dc}
@media(prefers-color-scheme:dark){:root{--bg:#0e1318;--card:#161d25;--ink:#e4eaf0;--soft:#93a2b1;--line:#29333e;--track:#212a34;
--blue:#6aa9ee;--green:#4cc38a;--red:#f27878;--amber:#e5a54b;--violet:#a98bf0;--teal:#45bfb2;
--greenbg:#12301f;--redbg:#3a1a1c;--amberbg:#36270f}.picture svg{filter:invert(.91) hue-rotate(180deg)}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:18px;margin:34px 0 12px;letter-spacing:-.005em}
h3{font-size:15px;margin:18px 0 6px}
p{margin:6px 0}
a{color:var(--blue)}
.soft{color:var(--soft)}.small{font-size:13px}
.mono{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin:12px 0}
.chip{display:inline-block;padding:1px 10px;border-radius:99px;font-size:13px;font-weight:600;white-space:nowrap;vertical-align:2px}
.chip.ok{background:var(--greenbg);color:var(--green)}.chip.bad{background:var(--redbg);color:var(--red)}
.chip.doubt{background:var(--amberbg);color:var(--amber)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;margin:14px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:10px 14px}
.card .tile{background:var(--track);border:0}
.tile b{display:block;font-size:20px;line-height:1.3;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:12.5px}
.tile.invalid b{color:var(--amber);text-decoration:line-through;text-decoration-thickness:1px}
ul.plain{list-style:none;margin:6px 0;padding:0}
ul.plain li{padding:2px 0 2px 24px;position:relative;overflow-wrap:anywhere}
ul.plain li::before{position:absolute;left:3px;content:"→";color:var(--soft)}
ul.plain li.ok::before{content:"✓";color:var(--green);font-weight:700}
ul.plain li.bad::before{content:"✗";color:var(--red);font-weight:700}
ul.plain li.doubt::before{content:"!";color:var(--amber);font-weight:700}
.reason{color:var(--soft);font-size:13px;display:block}
details{margin:8px 0}summary{cursor:pointer;color:var(--soft);font-size:13.5px}
.scroll{overflow-x:auto;margin:8px 0;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft);font-size:12.5px;white-space:nowrap}
th,td{padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right}
.rows{display:grid;grid-template-columns:minmax(84px,auto) 1fr minmax(64px,auto);
gap:5px 12px;align-items:center;margin:10px 0;font-size:13.5px}
.rows .label{white-space:nowrap;overflow:hidden;text-overflow:ellipsis;max-width:280px}
.rows .value{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.rows .value small{color:var(--soft);margin-left:6px}
.track{position:relative;background:var(--track);border-radius:5px;height:20px;overflow:hidden}
.track i{position:absolute;top:0;bottom:0;min-width:3px;border-radius:4px;background:var(--blue)}
.track i.led{background:repeating-linear-gradient(90deg,var(--line) 0 1px,transparent 1px 6px);opacity:.9;border-radius:0}
.track i.tail{opacity:.32}
.track i.dot{width:9px;min-width:9px;height:9px;top:5.5px;border-radius:9px;margin-left:-4.5px;opacity:.75}
.track i.mark{width:2px;min-width:2px;border-radius:0;background:var(--ink);opacity:.7}
.c0{background:var(--red)!important}.c1{background:var(--amber)!important}.c2{background:var(--violet)!important}
.c3{background:var(--blue)!important}.c4{background:var(--teal)!important}.c5{background:var(--green)!important}
.axis{position:relative;height:18px;color:var(--soft);font-size:11.5px;font-variant-numeric:tabular-nums}
.axis span{position:absolute;transform:translateX(-50%);white-space:nowrap}
.axis span:first-child{transform:none}.axis span:last-child{transform:translateX(-100%)}
.lane{display:block;width:100%;height:22px;border-radius:5px;background:var(--greenbg)}
.lane .lost{fill:var(--red)}.lane .when{stroke:var(--ink);stroke-width:1.5;vector-effect:non-scaling-stroke;opacity:.7}
.lane .quiet{fill:var(--track)}
.picture svg{display:block;max-width:100%;height:auto;margin:0 auto}
.picture{overflow-x:auto}
.loop{max-width:430px;width:100%;height:auto;display:block;margin:4px auto}
.loop text{font:600 13px system-ui,"DejaVu Sans",sans-serif;fill:var(--ink)}
.loop text.soft{font-weight:400;font-size:11.5px;fill:var(--soft)}
.loop .node{fill:var(--card);stroke:var(--blue);stroke-width:1.8}.loop .start{stroke:var(--soft)}.loop .end{stroke:var(--green)}
.loop path{fill:none;stroke:var(--red);stroke-width:2}.loop path.lead{stroke:var(--soft);stroke-dasharray:4 4}
.loop path.way{stroke:var(--green)}
.loop .tip{fill:var(--red);stroke:none}.loop .tip.lead{fill:var(--soft)}.loop .tip.way{fill:var(--green)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:4px 24px}
footer{margin-top:40px;color:var(--soft);font-size:13px}
@media(max-width:600px){main{padding:18px 12px 40px}h1{font-size:22px}.card{padding:14px}.rows{gap:4px 8px;font-size:13px}
.rows .label{max-width:116px}.rows .value small{display:block;margin:0}.picture svg{max-width:none;min-width:560px}
.axis span{display:none}.axis span:first-child,.axis span:last-child{display:inline}}
@media print{body{background:#fff}.card,.tile{break-inside:avoid}}
"""
