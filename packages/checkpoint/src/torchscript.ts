/**
 * The classes of a TorchScript archive: `NAME/code/__torch__/a/b.py` says of class `__torch__.a.b.C` which of its
 * fields are parameters and buffers. Format: pytorch, `torch/csrc/jit/serialization/python_print.cpp`.
 */
import { readZipMemberSync, type ZipMember } from "./zip.ts";

/** The source of a class has some kilobytes. */
const longestSource = 2 ** 24;

/**
 * Parameters and buffers of a class by its full name; undefined for classes of no code.
 *
 * @param folder `NAME/`, of the archive
 */
export function createFieldLookup(
  folder: string,
  members: ReadonlyMap<string, ZipMember>,
): (className: string) => ReadonlySet<string> | undefined {
  const sources = new Map<string, ReadonlyMap<string, ReadonlySet<string>>>();
  return (className) => {
    const dot = className.lastIndexOf(".");
    const file = `${folder}code/${className.slice(0, dot).replaceAll(".", "/")}.py`;
    const member = members.get(file);
    if (!member || member.size > longestSource) return undefined;
    const classes = sources.get(file) ?? parseClasses(readZipMemberSync(member));
    sources.set(file, classes);
    return classes.get(className.slice(dot + 1));
  };
}

/** `class C(Module):`, and in it `__parameters__ = ["weight", ]` and `__buffers__ = []`. */
function parseClasses(source: Uint8Array): ReadonlyMap<string, ReadonlySet<string>> {
  const classes = new Map<string, Set<string>>();
  let fields = new Set<string>();
  for (const line of Buffer.from(source).toString("utf8").split("\n")) {
    const name = /^class (\w+)\(/.exec(line)?.[1];
    if (name !== undefined) {
      fields = new Set();
      classes.set(name, fields);
    }
    const list = /^ {2}__(?:parameters|buffers)__ = \[(.*)\]$/.exec(line)?.[1] ?? "";
    for (const [, field] of list.matchAll(/"([^"]*)"/g)) fields.add(field!);
  }
  return classes;
}
