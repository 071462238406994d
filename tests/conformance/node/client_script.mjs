// Shared code of the scripts: read the task, and describe the error that a failing call throws.
import { text } from "node:stream/consumers";

export const asked = JSON.parse(await text(process.stdin));

export async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    const classes = [];
    for (let kind = error; kind; kind = Object.getPrototypeOf(kind)) classes.push(kind.constructor.name);
    return { classes: classes.join(" "), message: error.message, status: error.status ?? error.statusCode };
  }
  return { classes: "", message: "no error" };
}
