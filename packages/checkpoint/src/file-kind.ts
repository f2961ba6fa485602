/** What a file is, by its first bytes and never by its name. */
import { open } from "node:fs/promises";
import { fileError } from "./file-error.ts";
import { startsNpy } from "./npy-header.ts";
import { startsPyTorch } from "./pytorch.ts";

/** Formats of weights, `zip` being PyTorch's or NumPy's; then what lies in their place when a download went wrong. */
export type FileKind =
  | "safetensors"
  | "openvino"
  | "npy"
  | "zip"
  | "pytorch"
  | "graphdef"
  | Stranger;

type Stranger = keyof typeof strangers;

const strangers = {
  empty: { got: "an empty file", next: "fetch it again" },
  pointer: {
    got: "a pointer of git-lfs in place of the file",
    next: "run git lfs pull in its folder",
  },
  page: {
    got: "a web page",
    next: "fetch the file itself: its address may ask for a login, or a proxy may have answered",
  },
} as const;

/** What lies in the place of weights, and the next step; undefined for what may be weights. */
export function findStranger(
  kind: FileKind | undefined,
): { readonly got: string; readonly next: string } | undefined {
  return kind !== undefined && kind in strangers ? strangers[kind as Stranger] : undefined;
}

/** @param head of `readHead` */
export function findFileKind(head: Uint8Array): FileKind | undefined {
  const text = Buffer.from(head).toString("utf8").replace("\ufeff", "").trimStart();
  if (head.length === 0) return "empty";
  if (text.startsWith("version https://git-lfs.")) return "pointer";
  if (/^(<\?xml[^>]*>\s*)?<(!doctype\s+html|html)\b/i.test(text)) return "page";
  if (head[8] === "{".charCodeAt(0)) return "safetensors";
  if (/^<(\?xml|net\b)/.test(text)) return "openvino";
  if (startsNpy(head)) return "npy";
  if (Buffer.from(head.subarray(0, 4)).toString("latin1") === "PK\x03\x04") return "zip";
  if (startsPyTorch(head)) return "pytorch";
  if (startsGraph(head)) return "graphdef";
  return text.startsWith("<") ? "page" : undefined;
}

/** A node (field 1) that starts with its name (field 1). */
function startsGraph(head: Uint8Array): boolean {
  let at = 1;
  while (at < 6 && head[at]! >= 0x80) at++;
  return head[0] === 0x0a && head[at + 1] === 0x0a;
}

/** The first bytes of a file: enough to know every format. @throws AlignTokError `not-found`, `io` */
export async function readHead(path: string): Promise<Uint8Array> {
  const file = await open(path, "r").catch((error) => {
    throw fileError("read", path, error);
  });
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(512), 0, 512, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
