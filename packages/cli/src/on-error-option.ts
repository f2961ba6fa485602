import { Option } from "commander";

/** `--on-error`, of every command that reads images. */
export function onErrorOption(): Option {
  return new Option(
    "--on-error <what>",
    "of images that cannot be read: raise, or skip and count them",
  )
    .choices(["raise", "skip"])
    .default("raise");
}
