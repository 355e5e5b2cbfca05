import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { decode, encode } from 'dns-packet';
import { type Ip, isIpv6, parseIp } from '../../addr/ip.ts';
import { SOCK_DGRAM } from '../../linux/inet/constants.ts';
import { MSG_DONTWAIT, SO_MARK, SOCK_CLOEXEC, SOL_SOCKET } from '../../linux/netlink/constants.ts';
import { AF_INET, AF_INET6 } from '../../linux/route/constants.ts';
import { socketAddress } from '../../linux/socket-address.ts';
import { close, connect, recvNow, SyscallError, send, setsockopt, socket } from '../../linux/syscall.ts';

export type MarkedLookup = {
  /** of the questions: what lets them pass a kill switch */
  readonly fwMark: number;
  /** whom to ask, one after the other */
  readonly servers: readonly Ip[];
};

const PORT = 53;
/** How often each server is asked, and how long it is waited for. */
const TRIES = 2;
const WAIT_MS = 2000;
const LOOK_MS = 5;
/** bytes of an answer by UDP; one of addresses is short */
const ANSWER_MAX = 4096;

const TYPES = ['A', 'AAAA'] as const;

/**
 * Finds the address of a name as the machine's resolver would, past a kill switch: by /etc/hosts, then by asking.
 *
 * @throws Error that says why it has none
 */
export async function markedLookup(host: string, { fwMark, servers }: MarkedLookup): Promise<Ip> {
  const known = inHosts(host, readFileSync('/etc/hosts', 'utf8'));
  if (known !== undefined) return known;
  if (servers.length === 0) throw new Error(`${host} does not resolve: this machine has no name server`);
  let why = '';
  for (const server of servers) {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const answer = await askBoth(host, server, fwMark);
      if (typeof answer !== 'string') return answer;
      why = answer;
      if (answer === NO_SUCH) break;
    }
    if (why === NO_SUCH) break;
  }
  throw new Error(`${host} does not resolve: ${why}`);
}

const NO_SUCH = 'there is no such name';

/** What a file in the manner of hosts(5) has of a name. */
export function inHosts(host: string, text: string): Ip | undefined {
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (!names.some((name) => name.toLowerCase() === host.toLowerCase())) continue;
    try {
      return parseIp(address);
    } catch {
      // one with a zone, or none: another line may have it
    }
  }
  return undefined;
}

/** IPv4 before IPv6, of which mostly one has a way; or why there is neither. */
async function askBoth(host: string, server: Ip, fwMark: number): Promise<Ip | string> {
  const answers = await Promise.all(TYPES.map((type) => ask(host, type, { server, fwMark })));
  return answers.find((answer) => typeof answer !== 'string') ?? answers[0] ?? NO_SUCH;
}

async function ask(
  host: string,
  type: (typeof TYPES)[number],
  { server, fwMark }: { readonly server: Ip; readonly fwMark: number },
): Promise<Ip | string> {
  const id = randomInt(65_536);
  const fd = socket(isIpv6(server) ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    setsockopt(fd, SOL_SOCKET, SO_MARK, fwMark);
    connect(fd, socketAddress(server, PORT), 'ask a name server');
    send(fd, encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name: host }] }));
    const buffer = new Uint8Array(ANSWER_MAX);
    for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline; ) {
      const length = recvNow(fd, buffer, MSG_DONTWAIT);
      const answer = length === undefined ? undefined : readAnswer(buffer.subarray(0, length), id, type);
      if (answer !== undefined) return answer;
      // oxlint-disable-next-line no-await-in-loop -- asked again and again
      await pause(LOOK_MS);
    }
    return `no answer in ${WAIT_MS / 1000} s`;
  } catch (error) {
    if (error instanceof SyscallError) return error.errnoName;
    throw error;
  } finally {
    close(fd);
  }
}

/** RFC 1035, 4.1.1: RD */
const RECURSION_DESIRED = 256;

/** undefined where it is no answer to that question */
function readAnswer(bytes: Uint8Array, id: number, type: string): Ip | string | undefined {
  try {
    const packet = decode(Buffer.from(bytes)) as ReturnType<typeof decode> & { readonly rcode?: string };
    if (packet.id !== id || packet.type !== 'response') return undefined;
    if (packet.rcode === 'NXDOMAIN') return NO_SUCH;
    if (packet.rcode !== 'NOERROR') return `the name server says ${packet.rcode}`;
    const found = packet.answers?.find((answer) => answer.type === type);
    if (found === undefined || (found.type !== 'A' && found.type !== 'AAAA')) return NO_SUCH;
    return parseIp(found.data);
  } catch {
    // what cannot be read is as good as lost
    return undefined;
  }
}
