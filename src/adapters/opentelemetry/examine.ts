/** What `doctor` says of the collector of spans. Never `broken`: mail does not need it. */
import { type Finding, ok, warning } from '../../ports/finding.ts';
import { reasonOf } from './reason.ts';

const CHECK = 'tracing';
const ANSWER_MS = 5_000;
const MEND = 'mend that, or OTEL_EXPORTER_OTLP_ENDPOINT and _HEADERS; until then mail goes on and spans are dropped';

export async function examineCollector(o: {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}): Promise<readonly Finding[]> {
  const named = `OTEL_EXPORTER_OTLP_ENDPOINT: ${new URL(o.url).origin}`;
  try {
    const { ok: taken, status } = await fetch(o.url, {
      method: 'POST',
      headers: { ...o.headers, 'content-type': 'application/json' },
      // A request without spans is a request.
      body: JSON.stringify({ resourceSpans: [] }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!taken) return [warning(CHECK, `${named} answers HTTP ${status} to spans`, MEND)];
    return [ok(CHECK, `${new URL(o.url).origin} takes spans`)];
  } catch (error) {
    const { name, cause } = error as Error;
    const reason = name === 'TimeoutError' ? 'does not answer' : `cannot be asked (${reasonOf(cause)})`;
    return [warning(CHECK, `${named} ${reason}`, MEND)];
  }
}
