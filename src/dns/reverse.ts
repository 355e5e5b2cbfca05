import type { Ipv4 } from '../addr/ipv4.ts';

/** The address that a name such as `5.0.11.10.in-addr.arpa` is of, RFC 1035, 3.5. @param labels in lower case */
export function reverseAddress(labels: readonly string[]): Ipv4 | undefined {
  const [last, next, third, first, ...suffix] = labels;
  if (suffix.join('.') !== 'in-addr.arpa') return undefined;
  const octets = [first, third, next, last].map((label = '') =>
    /^(0|[1-9][0-9]{0,2})$/.test(label) ? Number(label) : 256,
  );
  if (octets.some((octet) => octet > 255)) return undefined;
  return octets.reduce((address, octet) => address * 256 + octet, 0) as Ipv4;
}
