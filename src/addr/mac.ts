import { InputError } from '../errors.ts';

/** An Ethernet address: six octets. */
export type Mac = Uint8Array & { readonly length: 6 };

/** @throws InputError `invalid_mac` for anything but six pairs of hexadecimal digits, and for group addresses */
export function parseMac(text: string): Mac {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    throw new InputError(
      'invalid_mac',
      `Cannot read ${JSON.stringify(text)} as a MAC address: want six octets such as 02:fc:00:00:00:05`,
    );
  }
  const mac = Uint8Array.from(text.split(':'), (octet) => Number.parseInt(octet, 16));
  if (((mac[0] ?? 0) & 1) === 1) {
    throw new InputError(
      'invalid_mac',
      `Cannot use MAC address ${text}: it is a group address, no interface may own it`,
    );
  }
  return mac as Mac;
}

export function formatMac(mac: Mac): string {
  return Array.from(mac, (octet) => octet.toString(16).padStart(2, '0')).join(':');
}
