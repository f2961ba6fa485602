import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMessage, type Message } from "../protobuf.ts";

/** How a SavedModel says what its graph is for; loaders ask for it. */
export const TAG = "serve";

/** The file of a SavedModel: one graph. It needs no folder of variables, for they are assigned after loading. */
function savedModel(graph: Message): Uint8Array {
  const info = createMessage().string(4, TAG);
  const metaGraph = createMessage().message(1, info).message(2, graph);
  return createMessage().int(1, 1).message(2, metaGraph).finish();
}

/** Gives `use` a folder that holds the model, and removes it afterwards. */
export async function withSavedModel<T>(graph: Message, use: (folder: string) => T): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "aligntok-tensorflow-"));
  try {
    await writeFile(join(folder, "saved_model.pb"), savedModel(graph));
    return use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
