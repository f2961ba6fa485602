/** The look of a report: one column, hairlines instead of boxes, light and dark by the reader's own setting. */
export const style = `
:root {
  color-scheme: light dark;
  --page: #faf9f7; --raised: #ffffff; --ink: #1d1c1a; --muted: #66625b; --hairline: #e4e1da;
  --series-1: #2a78d6; --series-2: #eb6834; --series-3: #1baf7a; --series-4: #4a3aa7;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #171716; --raised: #1f1f1d; --ink: #eceae6; --muted: #a5a199; --hairline: #302e2a;
    --series-1: #3987e5; --series-2: #d95926; --series-3: #199e70; --series-4: #9085e9;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 60rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: 2.1rem; line-height: 1.15; letter-spacing: -0.02em; margin: 0; font-weight: 650; }
h2 { font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; margin: 0 0 .35rem; font-weight: 650; }
h3 { font-size: 1rem; line-height: 1.4; margin: 0; font-weight: 600; }
p { margin: 0 0 .8rem; max-width: 42rem; text-wrap: pretty; }
a { color: inherit; text-decoration-color: var(--hairline); text-underline-offset: .2em; }
a:hover { text-decoration-color: currentColor; }
small, figcaption, .note { color: var(--muted); font-size: .875rem; line-height: 1.5; }
header .subtitle { color: var(--muted); margin: .5rem 0 0; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 1.25rem 0 0; font-size: .875rem; }
nav a { color: var(--muted); text-decoration: none; }
nav a:hover { color: var(--ink); text-decoration: underline; }
section { margin-top: 3.25rem; padding-top: 1.6rem; border-top: 1px solid var(--hairline); }
section.summary { margin-top: 2rem; border-top: 0; padding-top: 0; }
section > .note { margin-bottom: 1.4rem; }
figure { margin: 1.5rem 0 0; }
figcaption { margin-top: .5rem; max-width: 42rem; }
figure > h3 + img, figure > h3 + svg { margin-top: .5rem; }
img { display: block; max-width: 100%; height: auto; border-radius: 3px; }
img.pixels { image-rendering: pixelated; }
.hero img { width: 100%; border-radius: 8px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1.25rem 1.75rem; margin: 1.75rem 0 0; }
.facts div { border-top: 2px solid var(--hairline); padding-top: .55rem; }
.facts dt { color: var(--muted); font-size: .8125rem; }
.facts dd { margin: .1rem 0 0; font-size: 1.5rem; line-height: 1.25; letter-spacing: -0.015em; font-weight: 600; }
.facts dd small { display: block; font-weight: 400; font-size: .8125rem; letter-spacing: 0; margin-top: .1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 23rem), 1fr)); gap: 2rem 2.5rem; }
.charts figure { margin: 0; min-width: 0; }
svg.chart { display: block; width: 100%; height: auto; overflow: visible; }
svg.chart text { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
svg.chart .grid { stroke: var(--hairline); stroke-width: 1; shape-rendering: crispEdges; }
svg.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg.chart .raw { fill: none; stroke-width: 1; opacity: .28; }
svg.chart circle { stroke: var(--page); stroke-width: 1.5; }
svg.ranges { min-width: 40rem; }
svg.ranges .span { stroke: var(--series-1); stroke-width: 1; opacity: .45; }
svg.ranges .bar { fill: var(--series-1); opacity: .55; }
svg.ranges .mean { stroke: var(--ink); stroke-width: 1.5; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .2rem 0 .5rem; padding: 0; list-style: none; font-size: .8125rem; color: var(--muted); }
.legend li { display: flex; align-items: center; gap: .4rem; }
.legend i { width: .85rem; height: .2rem; border-radius: 1px; }
.legend b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.groups { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 1.6rem 2rem; margin-top: 1rem; }
.groups.wide { grid-template-columns: 1fr; }
.group h3 { font-size: .9375rem; margin-bottom: .3rem; }
.strip { display: grid; gap: .3rem; margin-bottom: .3rem; }
.strip img { width: 100%; }
.strip span { color: var(--muted); font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere; align-self: end; }
.row-label { color: var(--muted); font-size: .8125rem; margin: .5rem 0 .2rem; }
.scroll { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { text-align: right; padding: .45rem 0 .45rem 1.5rem; border-bottom: 1px solid var(--hairline); vertical-align: baseline; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { font-weight: 500; color: var(--muted); font-size: .8125rem; vertical-align: bottom; }
thead small { display: block; font-size: .75rem; }
tbody th { font-weight: 500; }
tr.context > * { color: var(--muted); font-weight: 400; }
tr.heading > * { text-align: left; color: var(--muted); font-size: .8125rem; font-weight: 500; padding-top: 1.4rem; white-space: normal; }
tr.heading div { position: sticky; left: 0; max-width: min(42rem, calc(100vw - 2rem)); }
.scroll + .note { margin-top: .8rem; }
details { margin-top: 1rem; }
summary { cursor: pointer; font-weight: 600; font-size: .9375rem; padding: .3rem 0; }
.settings { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .15rem 1.5rem; margin: .5rem 0 0; font-size: .875rem; }
.settings dt { color: var(--muted); overflow-wrap: anywhere; }
.settings dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
footer { margin-top: 3.5rem; padding-top: 1.2rem; border-top: 1px solid var(--hairline); }
@media (max-width: 40rem) {
  main { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  section { margin-top: 2.5rem; padding-top: 1.3rem; }
  .facts { grid-template-columns: 1fr 1fr; gap: 1rem 1.25rem; }
  .facts dd { font-size: 1.25rem; }
  th, td { padding-left: 1rem; }
  table { font-size: .875rem; }
  tbody th { white-space: normal; min-width: 7rem; }
  .settings { grid-template-columns: 1fr; gap: 0; }
  .settings dd { margin-bottom: .45rem; }
}
@media print { nav { display: none; } section { break-inside: avoid-page; } }
`;
