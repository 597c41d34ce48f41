/** The part of dns-packet that encodes queries (and, in tests, answers). */
declare module "dns-packet" {
  export interface Question {
    type: string;
    name: string;
    class?: string;
  }
  export interface Record {
    type: string;
    name: string;
    ttl?: number;
    class?: string;
    data?: unknown;
    udpPayloadSize?: number;
    flags?: number;
    options?: unknown[];
  }
  export interface Packet {
    type?: "query" | "response";
    id?: number;
    flags?: number;
    questions?: Question[];
    answers?: Record[];
    authorities?: Record[];
    additionals?: Record[];
  }
  export function encode(packet: Packet): Buffer;
  export function decode(buffer: Buffer): Packet;
  export const RECURSION_DESIRED: number;
  export const RECURSION_AVAILABLE: number;
  export const TRUNCATED_RESPONSE: number;
  export const AUTHENTIC_DATA: number;
  export const DNSSEC_OK: number;
}
