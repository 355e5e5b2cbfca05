import { CulvertError } from '../../errors.ts';
import { NETLINK_NETFILTER } from '../netlink/constants.ts';
import { readMessages } from '../netlink/message.ts';
import { writeNfgenmsg } from '../netlink/nfgenmsg.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { SyscallError } from '../syscall.ts';
import {
  NFNL_SUBSYS_ULOG,
  NFULA_CFG_CMD,
  NFULA_CFG_FLAGS,
  NFULA_CFG_MODE,
  NFULA_CFG_QTHRESH,
  NFULA_CFG_TIMEOUT,
  NFULNL_CFG_CMD_BIND,
  NFULNL_CFG_F_SEQ,
  NFULNL_COPY_PACKET,
  NFULNL_MSG_CONFIG,
  NFULNL_MSG_PACKET,
} from './constants.ts';
import { type LoggedPacket, readLoggedPacket } from './packet.ts';

/** An IPv4 header with all its options, the header that an ICMP error quotes, or ARP. */
const COPY_BYTES = 128;
/** The kernel gathers packets into one datagram this long, in hundredths of a second … */
const GATHER_TICKS = 1;
/** … or until there are so many. */
const GATHER_PACKETS = 64;

export type LogStatistics = {
  /** packets that {@link PacketLog.poll} gave out, or will */
  readonly read: number;
  /** packets that the kernel could not deliver; it is known when the next one comes */
  readonly lost: number;
  /** how often the socket's queue was found to have been full */
  readonly overruns: number;
};

/**
 * What rules with `log group` hand to one group of a namespace: any family's packets, IPv4, ARP and a bridge's alike.
 * What nobody polls waits in the socket's receive buffer, and where that is full it is lost and counted.
 */
export class PacketLog implements Disposable {
  readonly #socket: NetlinkSocket;
  /** Read with the last datagram and not given out yet: fewer than a datagram has. */
  readonly #waiting: LoggedPacket[] = [];
  #sequence = 0;
  #read = 0;
  #lost = 0;
  #overruns = 0;

  /**
   * Listens in the namespace that the calling thread is in. A group has one listener.
   *
   * @param group 0 to 65535
   * @throws CulvertError `log_group_refused`
   */
  constructor(group: number) {
    this.#socket = new NetlinkSocket(NETLINK_NETFILTER);
    try {
      bindGroup(this.#socket, group);
    } catch (error) {
      this.#socket[Symbol.dispose]();
      throw isErrno(error, 'EPERM') ? refused(group, error) : error;
    }
  }

  get statistics(): LogStatistics {
    return { read: this.#read, lost: this.#lost, overruns: this.#overruns };
  }

  /** The packets that wait, oldest first, at most `limit`; returns at once. */
  poll(limit: number): LoggedPacket[] {
    while (this.#waiting.length < limit) {
      const datagram = this.#receive();
      if (datagram === undefined) break;
      for (const message of readMessages(datagram)) {
        // the kernel ends a datagram of several with NLMSG_DONE
        if (message.type === ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET)) this.#take(readLoggedPacket(message.body));
      }
    }
    return this.#waiting.splice(0, limit);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #take(packet: LoggedPacket): void {
    const sequence = packet.sequence ?? this.#sequence;
    this.#lost += (sequence - this.#sequence) >>> 0;
    this.#sequence = (sequence + 1) >>> 0;
    this.#read++;
    this.#waiting.push(packet);
  }

  #receive(): Uint8Array | undefined {
    for (;;) {
      try {
        return this.#socket.receive();
      } catch (error) {
        if (!isErrno(error, 'ENOBUFS')) throw error;
        this.#overruns++;
      }
    }
  }
}

/** One message, so that no packet comes between the binding and the settings. */
function bindGroup(socket: NetlinkSocket, group: number): void {
  socket.request({
    attempt: `listen to packet log group ${group}`,
    type: (NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_CONFIG,
    flags: 0,
    write(writer) {
      writeNfgenmsg(writer, 0, group);
      // struct nfulnl_msg_config_mode: a length in network order, the mode, padding
      const mode = Uint8Array.of(0, 0, COPY_BYTES >>> 8, COPY_BYTES & 255, NFULNL_COPY_PACKET, 0);
      writer
        .attrU8(NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND)
        .attr(NFULA_CFG_MODE, mode)
        .attrU32be(NFULA_CFG_TIMEOUT, GATHER_TICKS)
        .attrU32be(NFULA_CFG_QTHRESH, GATHER_PACKETS)
        .attrU16be(NFULA_CFG_FLAGS, NFULNL_CFG_F_SEQ);
    },
  });
}

function isErrno(error: unknown, name: string): boolean {
  return error instanceof SyscallError && error.errnoName === name;
}

/** The kernel answers a taken group and a missing privilege alike. */
function refused(group: number, cause: unknown): CulvertError {
  return new CulvertError(
    'log_group_refused',
    `Cannot listen to packet log group ${group}: another socket does already, or this process lacks CAP_NET_ADMIN`,
    { cause },
  );
}
