/** Names of tensors as a tree, in which numbered blocks that are alike are shown once. */
import { byteLength, type NdArray } from "@aligntok/core";
import { formatBytes } from "./progress-printer.ts";

interface Branch {
  readonly children: Map<string, Branch>;
  tensor?: NdArray;
}

/** `blocks`, `  0..11  (12 alike)`, `    attn.qkv.weight  float32 [576, 192]  442 kB`. */
export function formatWeightsTree(tensors: Readonly<Record<string, NdArray>>): string[] {
  const names = Object.keys(tensors);
  const separator = names.some((name) => name.includes(".")) ? "." : "/";
  const root: Branch = { children: new Map() };
  for (const name of names) {
    let branch = root;
    for (const part of name.split(separator)) {
      const child = branch.children.get(part) ?? { children: new Map() };
      branch.children.set(part, child);
      branch = child;
    }
    branch.tensor = tensors[name]!;
  }
  const rows = describeChildren(root, separator, "");
  const width = Math.max(0, ...rows.map(({ label }) => label.length));
  return rows.map(({ label, detail }) => (detail ? `${label.padEnd(width)}  ${detail}` : label));
}

interface Row {
  readonly label: string;
  readonly detail: string;
}

function describeChildren(branch: Branch, separator: string, indent: string): Row[] {
  return groupAlike([...branch.children]).flatMap(([first, last, count]) => {
    // a chain of single children is one line
    let [label, child] = first;
    while (!child.tensor && child.children.size === 1) {
      const [[name, only]] = child.children as unknown as [[string, Branch]];
      [label, child] = [`${label}${separator}${name}`, only];
    }
    const range = count > 1 ? `${label.replace(first[0], `${first[0]}..${last[0]}`)}` : label;
    const alike = count > 1 ? `${count} alike` : "";
    const detail = child.tensor
      ? [describe(child.tensor), alike].filter(Boolean).join("  ")
      : alike;
    return [
      { label: `${indent}${range}`, detail },
      ...describeChildren(child, separator, `${indent}  `),
    ];
  });
}

type Child = readonly [string, Branch];

/** Runs of numbers that follow one another and hold the same names, shapes and dtypes: first, last, how many. */
function groupAlike(children: readonly Child[]): [Child, Child, number][] {
  const numbered = children.filter(([name]) => /^\d+$/.test(name));
  const sorted = [
    ...children.filter(([name]) => !/^\d+$/.test(name)),
    ...numbered.sort(([a], [b]) => Number(a) - Number(b)),
  ];
  const groups: { first: Child; last: Child; count: number; signature: string }[] = [];
  for (const child of sorted) {
    const signature = signatureOf(child[1]);
    const group = groups.at(-1);
    const follows =
      group && /^\d+$/.test(group.last[0]) && Number(child[0]) === Number(group.last[0]) + 1;
    if (follows && group.signature === signature) {
      group.last = child;
      group.count++;
    } else groups.push({ first: child, last: child, count: 1, signature });
  }
  return groups.map(({ first, last, count }) => [first, last, count]);
}

function signatureOf({ tensor, children }: Branch): string {
  const inner = [...children].map(([name, child]) => `${name}:${signatureOf(child)}`).sort();
  return `${tensor ? describe(tensor) : ""}(${inner.join()})`;
}

function describe(array: NdArray): string {
  return `${array.dtype} [${array.shape.join(", ")}]  ${formatBytes(byteLength(array))}`;
}
