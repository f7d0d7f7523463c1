#include "tools/report_style.h"

namespace nwc {

const char* const kChartStyle = R"css(
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--muted:#57606a;--line:#d0d7de;--box:#f6f8fa;
--k0:#0b62a8;--k1:#b45309;--k2:#0b7a4b;--k3:#7e3ea8;--k4:#b3202c;--k5:#0f766e;--k6:#6b4f1d;--k7:#57606a}
@media screen and (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--muted:#9ba6b2;--line:#3d444d;
--box:#161b22;--k0:#6cb6ff;--k1:#f0a35e;--k2:#56d39a;--k3:#c99bf0;--k4:#ff8f8f;--k5:#5fd0c5;--k6:#d6b97b;
--k7:#9ba6b2}}
svg text{font:11px system-ui,"DejaVu Sans",sans-serif;fill:var(--ink)}
svg .e{text-anchor:end}
svg .c{text-anchor:middle}
svg .m{fill:var(--muted)}
svg .v{text-anchor:middle;fill:#000}
.lossless{fill:#eaeaea;stroke:#6e6e6e;stroke-dasharray:3 2}
.sum{fill:var(--box);stroke:var(--line)}
.paper{fill:var(--paper)}
.part{stroke:var(--paper);stroke-width:.5}
.hatch{stroke:var(--paper);stroke-width:1.2;fill:none}
.grid{stroke:var(--line);stroke-width:1;fill:none}
.bound{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:5 3;fill:none}
.mark{fill-opacity:.75;stroke:var(--paper);stroke-width:.4}
.k0{fill:var(--k0)}.k1{fill:var(--k1)}.k2{fill:var(--k2)}.k3{fill:var(--k3)}
.k4{fill:var(--k4)}.k5{fill:var(--k5)}.k6{fill:var(--k6)}.k7{fill:var(--k7)}
)css";

const char* const kPageStyle = R"css(
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,"DejaVu Sans",sans-serif}
main,header,footer{max-width:84rem;margin:0 auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.25;margin:1.2rem 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem}
p,figcaption,caption{max-width:46rem}
.muted,figcaption,footer{color:var(--muted)}
p{margin:.5rem 0;overflow-wrap:anywhere}
figure{margin:.6rem 0}
.pair{display:flex;flex-wrap:wrap;gap:0 4rem;align-items:flex-start}
.pair>*{min-width:0;max-width:100%}
.pair>figure{flex:0 1 30rem}
figcaption{font-size:.9rem;margin-top:.4rem}
svg.scales{display:block;width:100%;height:auto;max-width:30rem}
svg.fixed{display:block}
.scroll{overflow-x:auto;max-width:100%;margin:.6rem 0}
.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--k0);outline-offset:2px}
summary{cursor:pointer}
table{border-collapse:collapse;font-size:.875rem;line-height:1.4}
caption{text-align:left;color:var(--muted);padding:.2rem 0}
th,td{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;
white-space:nowrap}
th{font-weight:600}
tbody th{font-weight:400}
td:last-child{padding-right:0}
.n{text-align:right;font-variant-numeric:tabular-nums}
.wrap th,.wrap td{white-space:normal}
.wrap td:nth-child(2):not(.n){overflow-wrap:anywhere}
.wrap .n{white-space:nowrap}
@media (max-width:40rem){th,td{padding-right:.5rem}.wrap{font-size:.8rem}}
footer{padding:1rem;font-size:.875rem}
@media print{body{font-size:10pt}.scroll{overflow:visible}svg.fixed{max-width:100%;height:auto}
h2{break-after:avoid}tr,figure{break-inside:avoid}table{font-size:8pt}th,td{white-space:normal;overflow-wrap:anywhere}}
)css";

}  // namespace nwc
