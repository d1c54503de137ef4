/**
 * Domains in the one form that they are compared in: the labels as DNS has them.
 * Spec: RFC 5890 §2.3.2.1 (A-label, U-label), RFC 6531 §3.7.1 (which domains may come in UTF-8)
 */
import { domainToASCII } from 'node:url';

const ldhLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** RFC 1035 §2.3.4: 255 octets with the length of each label and the root. */
const maxAsciiDomainLength = 253;
/** What may stand beside non-ASCII characters. `domainToASCII` would decode `%2e`, and end the domain at `/`, `?`, `#`. */
const onlyLabelCharacters = /^[A-Za-z0-9.\-\u0080-\u{10ffff}]+$/u;
const nonAscii = /[^\x00-\x7f]/;

/**
 * U-labels become A-labels: `bücher.example` is `xn--bcher-kva.example`. A domain of ASCII characters is returned as it
 * was written, and is not judged. Errors: null when a domain with other characters has no such form.
 *
 * Each label is compared before and after, because the mapping of UTS #46 also makes dots, digits and other people's
 * names: full-width `orderflow．example．com` would be ours, and `１２７.0.0.1` an IP address.
 */
export function asciiDomain(domain: string): string | null {
  if (!nonAscii.test(domain)) return domain;
  if (!onlyLabelCharacters.test(domain)) return null;
  const converted = domainToASCII(domain);
  if (converted === '' || converted.length > maxAsciiDomainLength) return null;
  const written = domain.split('.');
  const labels = converted.split('.');
  const faithful = written.length === labels.length && written.every((label, index) => isFormOf(label, labels[index]));
  return faithful ? converted : null;
}

function isFormOf(label: string, converted: string | undefined): boolean {
  if (converted === undefined || !ldhLabel.test(converted)) return false;
  return nonAscii.test(label) ? converted.startsWith('xn--') : converted === label.toLowerCase();
}
