/** The pictures of `npm run bench`: round numbers at the axes, everything inside its panel, and both systems told apart. */
import t from "tap";
import type { Kept } from "../../bench/curves/figure.ts";
import { linearScale, logScale, roundStep } from "../../bench/curves/scale.ts";
import { draw, short } from "../../bench/curves/svg.ts";
import { slope } from "../../bench/report.ts";

t.test("steps and numbers at the axes are round", async (t) => {
  t.same(
    [1, 0.9, 2.3, 7, 1000, 0.031].map((span) => roundStep(span, 5)),
    [0.2, 0.2, 0.5, 2, 200, 0.01],
  );
  t.same(linearScale([3, 911], 0, 100).ticks, [0, 200, 400, 600, 800, 1000]);
  t.same(linearScale([0], 0, 100).ticks, [0, 0.2], "nothing but zero");
  t.same(linearScale([-3, 4], 0, 100).ticks, [-4, -2, 0, 2, 4]);
  t.same(logScale([1000, 1_000_000], 0, 100).ticks, [1000, 10_000, 100_000, 1_000_000]);
  t.same(logScale([90, 230], 0, 100).ticks, [50, 100, 200, 500]);
  t.same(logScale([1, 500], 0, 100).ticks, [1, 10, 100]);
  t.throws(() => logScale([0, 1], 0, 100), /no logarithm of 0/);
  t.same([7, 0.25, 9000, 10_000, 250_000, 1_000_000].map(short), ["7", "0.25", "9000", "10k", "250k", "1M"]);
});

t.test("values have their places on the axes", async (t) => {
  const linear = linearScale([10], 200, 0);
  t.same([0, 5, 10].map(linear.at), [200, 100, 0]);
  const log = logScale([1, 100], 0, 100);
  t.same(
    [1, 10, 100].map((value) => Math.round(log.at(value))),
    [0, 50, 100],
  );
});

const FIGURE: Kept = {
  title: "Cost <of> a message",
  machine: "two processors",
  panels: [true, false].map((log) => ({
    title: "Flush & drain",
    x: { label: "messages", log },
    y: { label: "CPU ms", log: false },
    lines: [
      {
        name: "ours" as const,
        points: [
          [1000, 0.5],
          [100_000, 0.6],
        ] as const,
      },
      {
        name: "postfix" as const,
        points: [
          [1000, 0.7],
          [100_000, 0.7],
        ] as const,
      },
    ],
  })),
};

t.test("a figure is drawn for light and dark pages", async (t) => {
  const svg = draw(FIGURE);
  const size = /width="(\d+)" height="(\d+)"/.exec(svg);
  const [width, height] = [Number(size?.[1]), Number(size?.[2])];
  t.match(svg, /Cost &lt;of&gt; a message/);
  t.equal(svg.match(/Flush &amp; drain/g)?.length, 2);
  t.match(svg, /@media \(prefers-color-scheme:dark\)/);
  const lines = [...svg.matchAll(/<polyline class="(\w+)".*points="([^"]+)"/g)];
  t.same(
    lines.map(([, name]) => name),
    ["ours", "postfix", "ours", "postfix"],
  );
  for (const [, , points = ""] of lines)
    for (const point of points.split(" ")) {
      const [x = -1, y = -1] = point.split(",").map(Number);
      t.ok(x > 0 && x < width && y > 0 && y < height, point);
    }
  t.equal(svg.match(/<circle class="mark ours"/g)?.length, 5, "four points and the legend");
  t.equal(svg.match(/<rect class="mark postfix"/g)?.length, 5);
  const tags = (pattern: RegExp): number => svg.match(pattern)?.length ?? 0;
  t.equal(tags(/<[a-z]/g), tags(/<\//g) + tags(/\/>/g), "every element is closed");
  const alone = draw({
    ...FIGURE,
    panels: FIGURE.panels.map((panel) => ({ ...panel, lines: panel.lines.slice(0, 1) })),
  });
  t.notMatch(alone, />Postfix</, "who was not measured is not in the legend");
});

t.test("the slope of a line through points", async (t) => {
  t.equal(
    slope([
      [0, 1],
      [1, 3],
      [2, 5],
    ]),
    2,
  );
  t.equal(
    slope([
      [0, 4],
      [5, 4],
      [10, 4],
    ]),
    0,
  );
});
