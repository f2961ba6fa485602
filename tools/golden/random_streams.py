"""A second implementation of the random streams of @aligntok/core: xoshiro128** 1.1 and its seeding."""

import math

M = 0xFFFFFFFF


def rotl(x, k):
    return ((x << k) | (x >> (32 - k))) & M


def seeded(text):
    """FNV-1a from four offsets, each finished by murmur3's mixer."""
    state = []
    for word in range(4):
        h = (0x811C9DC5 + word * 0x9E3779B9) & M
        for c in text:
            h = ((h ^ ord(c)) * 0x01000193) & M
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) & M
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) & M
        state.append(h ^ (h >> 16))
    return state


def stream(text):
    s = seeded(text)
    while True:
        yield (rotl((s[1] * 5) & M, 7) * 9) & M
        t = (s[1] << 9) & M
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 11)


def normals(text, count):
    bits, out = stream(text), []
    while len(out) < count:
        radius = math.sqrt(-2 * math.log((next(bits) + 1) / 2**32))
        angle = 2 * math.pi * next(bits) / 2**32
        out += [radius * math.cos(angle), radius * math.sin(angle)]
    return out[:count]
