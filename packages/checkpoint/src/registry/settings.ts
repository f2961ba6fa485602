/** Where weights lie and come from: the environment variables of huggingface_hub, and ours. Read when asked, never at import. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

export interface RegistrySettings {
  /** Cache of huggingface_hub, which Python shares. */
  readonly hubCache: string;
  /** Where files that are not from Hugging Face lie. */
  readonly home: string;
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly tokenPath: string;
  readonly token?: string;
  readonly offline: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, XDG_CACHE_HOME and ALIGNTOK_HOME. */
export function readSettings(env: Environment = process.env): RegistrySettings {
  const cache = env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const hubHome = expandHome(env.HF_HOME || join(cache, "huggingface"));
  const token = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || "").trim();
  return {
    hubCache: expandHome(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hubHome, "hub")),
    home: expandHome(env.ALIGNTOK_HOME || join(cache, "aligntok")),
    endpoint: (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, ""),
    tokenPath: env.HF_TOKEN_PATH || join(hubHome, "token"),
    ...(token && { token }),
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE || ""),
  };
}

/** The token of the environment, or the one that `hf auth login` wrote. */
export async function readToken({
  token,
  tokenPath,
}: RegistrySettings): Promise<string | undefined> {
  return token ?? ((await readFile(tokenPath, "utf8").catch(() => "")).trim() || undefined);
}

function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}
