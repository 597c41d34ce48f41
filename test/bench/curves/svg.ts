/** Draws a figure as SVG: panels side by side, readable on light and on dark pages, the lines told apart by marks as well as by colour. */
import type { Axis, Kept, Line, Panel } from "./figure.ts";
import { linearScale, logScale, type Scale } from "./scale.ts";

const PANEL = { width: 430, height: 290, left: 62, right: 18, top: 34, bottom: 48 } as const;
const HEAD = 62;
const FOOT = 26;
const COLUMNS = 2;

const NAMES = { ours: "Posthaste", postfix: "Postfix" } as const;

/** Light colours are attributes, which every program draws; those for dark pages override them. */
const STYLE = `text{font-family:system-ui,sans-serif}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.text{fill:#e6edf3}.quiet{fill:#9aa4af}.grid{stroke:#30363d}
.ours{stroke:#58a6ff}.mark.ours{fill:#58a6ff}.postfix{stroke:#f0883e}.mark.postfix{fill:#0d1117}
}`;
const COLOURS = { ours: "#0a62c9", postfix: "#c2500a" } as const;
const PAGE = "#ffffff";

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const place = (value: number): string => value.toFixed(1).replace(/\.0$/, "");

interface TextOptions {
  readonly size?: number;
  readonly anchor?: "start" | "middle" | "end";
  readonly quiet?: boolean;
  readonly bold?: boolean;
  readonly turned?: boolean;
}

function text(x: number, y: number, content: string, options: TextOptions = {}): string {
  const { size = 12, anchor = "start", quiet = false, bold = false, turned = false } = options;
  const turn = turned ? ` transform="rotate(-90 ${place(x)} ${place(y)})"` : "";
  return `<text class="${quiet ? "quiet" : "text"}" fill="${quiet ? "#59636e" : "#1f2328"}" x="${place(x)}" y="${place(y)}" font-size="${size}" text-anchor="${anchor}"${bold ? ' font-weight="600"' : ""}${turn}>${escaped(content)}</text>`;
}

function mark(name: Line["name"], x: number, y: number): string {
  const look = `class="mark ${name}" stroke="${COLOURS[name]}" stroke-width="1.8"`;
  return name === "ours"
    ? `<circle ${look} fill="${COLOURS.ours}" cx="${place(x)}" cy="${place(y)}" r="3.2"/>`
    : `<rect ${look} fill="${PAGE}" x="${place(x - 3.2)}" y="${place(y - 3.2)}" width="6.4" height="6.4"/>`;
}

/** 10k, 1M: as short as an axis needs it. */
export function short(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

const scaleOf = (axis: Axis, values: ReadonlyArray<number>, from: number, to: number): Scale =>
  (axis.log ? logScale : linearScale)(values, from, to);

function drawPanel(panel: Panel, left: number, top: number): string {
  const points = panel.lines.flatMap((line) => line.points);
  const [x0, x1] = [left + PANEL.left, left + PANEL.width - PANEL.right];
  const [y0, y1] = [top + PANEL.height - PANEL.bottom, top + PANEL.top];
  const x = scaleOf(
    panel.x,
    points.map(([value]) => value),
    x0,
    x1,
  );
  const y = scaleOf(
    panel.y,
    points.map(([, value]) => value),
    y0,
    y1,
  );
  const out = [text(x0, top + 20, panel.title, { size: 14, bold: true })];
  const line = (...[ax, ay, bx, by]: [number, number, number, number]): string =>
    `<line class="grid" stroke="#d1d9e0" x1="${place(ax)}" y1="${place(ay)}" x2="${place(bx)}" y2="${place(by)}"/>`;
  for (const tick of y.ticks)
    out.push(
      line(x0, y.at(tick), x1, y.at(tick)),
      text(x0 - 7, y.at(tick) + 4, short(tick), { anchor: "end", quiet: true }),
    );
  for (const tick of x.ticks)
    out.push(
      line(x.at(tick), y0, x.at(tick), y0 + 5),
      text(x.at(tick), y0 + 19, short(tick), { anchor: "middle", quiet: true }),
    );
  out.push(text((x0 + x1) / 2, y0 + 38, panel.x.label, { anchor: "middle" }));
  out.push(text(left + 16, (y0 + y1) / 2, panel.y.label, { anchor: "middle", turned: true }));
  for (const { name, points } of panel.lines) {
    const places = points.map(([a, b]) => [x.at(a), y.at(b)] as const);
    const path = places.map(([a, b]) => `${place(a)},${place(b)}`).join(" ");
    out.push(
      `<polyline class="${name}" fill="none" stroke="${COLOURS[name]}" stroke-width="2" stroke-linejoin="round" points="${path}"/>`,
    );
    // of a long row of samples the line says enough
    if (places.length <= 20) out.push(...places.map(([a, b]) => mark(name, a, b)));
  }
  return out.join("\n");
}

function legend(figure: Kept): string {
  const present = (["ours", "postfix"] as const).filter((name) =>
    figure.panels.some(({ lines }) => lines.some((line) => line.name === name)),
  );
  return present
    .map((name, index) => {
      const [x, y] = [PANEL.left + index * 110, 48];
      return `<line class="${name}" stroke="${COLOURS[name]}" stroke-width="2" x1="${x}" y1="${y}" x2="${x + 24}" y2="${y}"/>
${mark(name, x + 12, y)}
${text(x + 31, y + 4, NAMES[name])}`;
    })
    .join("\n");
}

export function draw(figure: Kept): string {
  const rows = Math.ceil(figure.panels.length / COLUMNS);
  const columns = Math.min(COLUMNS, figure.panels.length);
  const width = columns * PANEL.width;
  const height = HEAD + rows * PANEL.height + FOOT;
  const panels = figure.panels.map((panel, index) =>
    drawPanel(panel, (index % COLUMNS) * PANEL.width, HEAD + Math.floor(index / COLUMNS) * PANEL.height),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(figure.title)}</title>
<style>${STYLE}</style>
<rect class="page" fill="${PAGE}" width="${width}" height="${height}"/>
${text(PANEL.left, 26, figure.title, { size: 17, bold: true })}
${legend(figure)}
${panels.join("\n")}
${text(PANEL.left, height - 10, figure.machine, { size: 11, quiet: true })}
</svg>
`;
}
