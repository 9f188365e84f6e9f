package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// uuid identifies a pool; it prints what it parses.
type uuid [16]byte

// String is the usual form, 8-4-4-4-12.
func (u uuid) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// newUUID makes a random one, version 4.
func newUUID() (u uuid, err error) {
	_, err = rand.Read(u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u, err
}

func parseUUID(s string) (u uuid, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(u) {
		return u, fmt.Errorf("uuid %q: want 32 hexadecimal digits", s)
	}
	return uuid(b), nil
}

// MarshalText makes it a string in JSON.
func (u uuid) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (u *uuid) UnmarshalText(b []byte) (err error) {
	*u, err = parseUUID(string(b))
	return err
}
