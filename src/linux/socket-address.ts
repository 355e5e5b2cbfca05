import { type Ipv4, ipv4Bytes } from '../addr/ipv4.ts';
import { AF_INET } from './route/constants.ts';

/** struct sockaddr_in, linux/in.h */
export function socketAddress(address: Ipv4, port: number): Uint8Array {
  return Uint8Array.of(AF_INET, 0, port >>> 8, port & 255, ...ipv4Bytes(address), ...new Uint8Array(8));
}
