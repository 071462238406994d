// A map of a store: a sample of its chunks as points. Chunks with similar vectors are near each other. The
// endpoint computes the places, so the browser receives no vectors.

import * as api from "../../api.js";
import { element, replace } from "../../elements.js";
import { count, share } from "../../format.js";
import { choice, empty, message, panel } from "../../parts.js";
import { COLOURS, scatter } from "../../plots.js";
import { pagePreview } from "./preview.js";

const LIMITS = [200, 1_000, 2_000];

/** Show the map. */
export async function show(root, { store, signal }) {
  const preview = pagePreview({ store, signal });
  const body = element("div", { class: "body stack" });
  const draw = async (limit) => {
    replace(body, element("p", { class: "quiet" }, "Loading"));
    try {
      const map = await api.get(`v1/vector_stores/${store.id}/embedding_map`, { limit }, { signal });
      if (!signal.aborted) replace(body, drawn(map, preview));
    } catch (error) {
      if (!signal.aborted) replace(body, message(error.message, "bad"));
    }
  };
  const number = element("label", { class: "row small" }, "Points", choice(LIMITS, "1000", (value) => draw(Number(value))));
  replace(root, panel("Map of the vectors", body, number), preview.element);
  await draw(1_000);
}

function drawn(map, preview) {
  if (map.data.length === 0) return empty("The store has no vectors yet.");
  const [first, second] = map.explained_variance;
  const files = filesOf(map.data);
  const places = new Map(files.shown.map((name, at) => [name, at]));
  const points = map.data.map((point) => ({
    ...point,
    series: places.get(nameOf(point)) ?? COLOURS - 1,
    lines: [point.page === null ? nameOf(point) : `${nameOf(point)}, page ${point.page}`, point.text],
  }));
  return [
    element("p", { class: "small quiet" },
      `${count(points.length)} chunks, spread over the store. Chunks with similar vectors are near each other. The two axes show `,
      `${share(first + second)} of the differences between the vectors. Choose a point to read its page.`),
    scatter({
      label: `Map of ${count(points.length)} chunks`, points,
      names: [...files.shown, ...(files.others ? [`${count(files.others)} other files`] : [])],
      onOpen: (point) => preview.open(point),
    }),
  ];
}

const nameOf = (point) => point.filename || point.file_id;

/** Return the names of the files with the most points, which get a colour each, and the number of other files. */
function filesOf(points) {
  const numbers = new Map();
  for (const point of points) numbers.set(nameOf(point), (numbers.get(nameOf(point)) ?? 0) + 1);
  const names = [...numbers].sort((one, other) => other[1] - one[1]).map(([name]) => name);
  const shown = names.slice(0, COLOURS - 1);
  return { shown, others: names.length - shown.length };
}
