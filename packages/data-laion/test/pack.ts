import { pack } from "tar-stream";

/** A tar archive of these files, written by tar-stream; a name with a slash at its end is a directory. */
export async function packTar(
  files: readonly (readonly [name: string, data: Uint8Array])[],
): Promise<Uint8Array> {
  const tar = pack();
  for (const [name, data] of files) {
    if (name.endsWith("/")) tar.entry({ name, type: "directory" });
    else tar.entry({ name }, Buffer.from(data));
  }
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return new Uint8Array(Buffer.concat(chunks));
}
