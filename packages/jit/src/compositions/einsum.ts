/** Einstein sums of one or two tensors, as transpositions around one batched matrix product. */
import { check } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import { defineReplacement } from "../trace/kernel.ts";
import { pullback } from "./composition.ts";

interface Term {
  readonly labels: string;
  readonly tensor: Tensor;
}

/** @param equation such as `"bij,bjk->bik"`: letters once in a term, no dots (tfjs has neither) */
function einsum(tensors: readonly Tensor[], equation: string): Tensor {
  const [left, output] = equation.replace(/\s/g, "").split("->") as [string, string];
  const labels = left.split(",");
  const sizes = new Map<string, number>();
  const terms = tensors.map((tensor, i): Term => {
    const names = labels[i] ?? "";
    check(
      names.length === tensor.rank,
      () =>
        `tf.einsum: expected ${names.length} axes for ${names} in ${equation}, got [${tensor.shape}]`,
    );
    for (const [axis, name] of [...names].entries()) {
      const size = tensor.shape[axis]!;
      check(
        (sizes.get(name) ?? size) === size,
        () => `tf.einsum: expected ${name} to be ${sizes.get(name)} in ${equation}, got ${size}`,
      );
      sizes.set(name, size);
    }
    return { labels: names, tensor };
  });
  const [a, b] = terms.map((term, i) => {
    // What only one term has and nobody asks for is summed at once.
    const others =
      output +
      terms
        .filter((_, j) => j !== i)
        .map((other) => other.labels)
        .join("");
    return sumOver(term, (name) => !others.includes(name));
  }) as [Term, Term | undefined];
  return b ? product(a, b, { output, sizes }) : arrange(a, output);
}

function product(
  a: Term,
  b: Term,
  { output, sizes }: { readonly output: string; readonly sizes: ReadonlyMap<string, number> },
): Tensor {
  const pick = (labels: string, keep: (name: string) => boolean) =>
    [...labels].filter(keep).join("");
  const batch = pick(a.labels, (name) => b.labels.includes(name) && output.includes(name));
  const inner = pick(a.labels, (name) => b.labels.includes(name) && !output.includes(name));
  const rows = pick(a.labels, (name) => !b.labels.includes(name));
  const columns = pick(b.labels, (name) => !a.labels.includes(name));
  const lengths = (names: string) => [...names].map((name) => sizes.get(name)!);
  const count = (names: string) => lengths(names).reduce((total, n) => total * n, 1);
  const left = tf.reshape(arrange(a, batch + rows + inner), [
    count(batch),
    count(rows),
    count(inner),
  ]);
  const right = tf.reshape(arrange(b, batch + columns + inner), [
    count(batch),
    count(columns),
    count(inner),
  ]);
  const labels = batch + rows + columns;
  const joined = tf.reshape(tf.matMul(left, right, false, true), lengths(labels));
  return arrange({ labels, tensor: joined }, output);
}

function sumOver({ labels, tensor }: Term, gone: (name: string) => boolean): Term {
  const axes = [...labels].flatMap((name, axis) => (gone(name) ? [axis] : []));
  const kept = [...labels].filter((name) => !gone(name)).join("");
  return { labels: kept, tensor: axes.length > 0 ? tf.sum(tensor, axes) : tensor };
}

/** The axes in another order. */
function arrange({ labels, tensor }: Term, order: string): Tensor {
  return labels === order
    ? tensor
    : tf.transpose(
        tensor,
        [...order].map((name) => labels.indexOf(name)),
      );
}

defineReplacement("Einsum", (inputs, { equation }) =>
  einsum(Object.values(inputs) as Tensor[], equation as string),
);
tf.registerGradient({
  kernelName: "Einsum",
  saveAllInputs: true,
  gradFunc: (dy, saved, { equation }) =>
    Object.fromEntries(
      saved.map((x, i) => {
        const of = (moved: Tensor) => einsum(saved.with(i, moved), equation as unknown as string);
        return [i, () => pullback(of, x, dy as Tensor)];
      }),
    ),
});
