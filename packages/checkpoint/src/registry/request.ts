/** Requests that follow redirects by themselves, so that a token goes to the host that it is for and to no other. */
import { setTimeout as sleep } from "node:timers/promises";
import { AlignTokError } from "@aligntok/core";

export type Fetch = typeof globalThis.fetch;

export interface Client {
  readonly fetch: Fetch;
  /** Sent to URLs of `origin` only. */
  readonly token?: { readonly value: string; readonly origin: string };
}

const mostRedirects = 10;

/** undici's fetch with the proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY; loaded when first needed. */
export async function createFetch(): Promise<{ fetch: Fetch; close(): Promise<void> }> {
  const { EnvHttpProxyAgent, fetch } = await import("undici");
  const dispatcher = new EnvHttpProxyAgent();
  const proxied = (url: string, init: object) => fetch(url, { ...init, dispatcher });
  return { fetch: proxied as unknown as Fetch, close: () => dispatcher.destroy() };
}

/** The response to GET, after redirects. Identity encoding, so that lengths are those of the file. */
export async function request(
  url: string,
  client: Client,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly signal: AbortSignal },
): Promise<Response> {
  let target = new URL(url);
  for (let hops = 0; hops <= mostRedirects; hops++) {
    const response = await client.fetch(target.href, {
      redirect: "manual",
      signal: options.signal,
      headers: {
        ...options.headers,
        "accept-encoding": "identity",
        "user-agent": "aligntok",
        ...(client.token?.origin === target.origin && {
          authorization: `Bearer ${client.token.value}`,
        }),
      },
    });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status > 399 || !location) return response;
    await response.body?.cancel();
    target = new URL(location, target);
    if (target.protocol !== "http:" && target.protocol !== "https:") break;
  }
  throw new AlignTokError(
    "unavailable",
    `${url}: expected at most ${mostRedirects} redirects to http addresses, got more. check HF_ENDPOINT and your proxy`,
  );
}

/** What a status that no repetition helps means. */
export function refusal(url: string, response: Response): AlignTokError {
  const { status, headers } = response;
  const reason = headers.get("x-error-message") ?? headers.get("x-error-code") ?? "";
  const said = reason ? ` (${reason.slice(0, 200)})` : "";
  if (status === 401 || status === 403) {
    const page = url.replace(/\/(api\/models\/)?([^/]+\/[^/]+)\/(resolve|revision)\/.*$/, "/$2");
    return new AlignTokError(
      "unavailable",
      `${url}: expected access, got ${status}${said}. accept the licence on ${page}, make a token on https://huggingface.co/settings/tokens and set HF_TOKEN; or check the name`,
    );
  }
  if (status === 404 || status === 410) {
    return new AlignTokError(
      "not-found",
      `${url}: expected a file or repository there, got ${status}${said}. check the name and the revision`,
    );
  }
  return new AlignTokError(
    "unavailable",
    `${url}: expected a file, got status ${status}${said}. try again later`,
  );
}

export function isPassing(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

/** Milliseconds that Retry-After asks for, in seconds or as a date. */
export function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}

/** The longest that a server may ask us to wait, in milliseconds. */
export const longestWait = 120_000;

/** Waits, or returns at once when aborted. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, { ...(signal && { signal }) }).catch(() => {});
}
