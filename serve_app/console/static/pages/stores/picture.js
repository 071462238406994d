// The picture of a page of a PDF, on which the endpoint has highlighted the found passage.
//
//   const picture = pagePictures({ store, signal });
//   replace(panel, await picture({ file_id, page, start, end }));

import * as api from "../../api.js";
import { element } from "../../elements.js";

/** Return a function that makes the picture of a place. It throws if the picture cannot be drawn. */
export function pagePictures({ store, signal }) {
  return async ({ file_id: file, page, start, end }) => {
    const path = `v1/vector_stores/${store.id}/files/${encodeURIComponent(file)}/pages/${page}/picture`;
    const answer = await api.send("GET", path, { parameters: { start, end }, signal });
    // The address of an <img> cannot have a key, so the picture is fetched and shown from memory.
    const address = URL.createObjectURL(await answer.blob());
    const image = element("img", { src: address, alt: `Page ${page}. The button "Text" shows its text.` });
    try {
      await image.decode();
    } finally {
      URL.revokeObjectURL(address);
    }
    return image;
  };
}
