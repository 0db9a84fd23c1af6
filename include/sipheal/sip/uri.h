// SPDX-License-Identifier: Apache-2.0
// SIP URIs, name-addr values and Via values, read in place. Nothing is unescaped: what is stored
// and sent is what was captured (RFC 3261 19.1.2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sipheal/export.h"
#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::sip {

// A URI split into its parts; views into the text that was parsed.
struct SIPHEAL_EXPORT UriView {
  std::string_view text;
  std::string_view scheme;   // as written
  std::string_view user;     // with ":password" when there is one; empty: none
  std::string_view host;     // with brackets for IPv6; for other schemes than sip and sips: empty
  std::string_view params;   // from the first ';', e.g. ";transport=tcp;lr"; empty: none
  std::string_view headers;  // from '?'; empty: none
  std::uint16_t port = 0;    // 0: none written
  bool is_sip = false;       // sip or sips
  bool is_sips = false;

  // Empty when the text is no URI: no scheme, white space or control characters, <> or quotes, bad
  // port, an IPv6 address without brackets. Schemes other than sip and sips stay opaque.
  static std::optional<UriView> Parse(std::string_view text);

  // The value of a URI parameter (empty view when it has none); empty optional when not there.
  std::optional<std::string_view> Param(std::string_view name) const;
  // A loose router (RFC 3261 16.12): `lr` with or without a value.
  bool loose() const { return Param("lr").has_value(); }
  // The transport that the URI asks for: parameter, else TLS for sips, else kUnknown.
  Transport transport() const;
};

// Finds a parameter in ";a=b;c" text, quoted values respected; values come without quotes.
SIPHEAL_EXPORT std::optional<std::string_view> FindParam(std::string_view params,
                                                         std::string_view name);

// One value of From, To, Contact, Route or Record-Route.
struct SIPHEAL_EXPORT NameAddrView {
  std::string_view text;     // the whole value, trimmed
  std::string_view display;  // as written, quotes included; empty: none
  std::string_view uri;      // without <>
  std::string_view params;   // header parameters from the first ';' after the URI; empty: none
  bool in_brackets = false;

  // A value that stands alone (From, To). Empty when malformed.
  static std::optional<NameAddrView> Parse(std::string_view text);
  std::optional<std::string_view> Param(std::string_view name) const {
    return FindParam(params, name);
  }
};

enum class ListStep : std::uint8_t { kValue, kEnd, kError };

// Takes the next value off a comma list. Commas within quotes or <> separate nothing (rule 10.4).
// kError: malformed; what was read before stays valid.
SIPHEAL_EXPORT ListStep NextNameAddr(std::string_view* rest, NameAddrView* value);

// The top Via of a message decides which transaction it belongs to.
struct SIPHEAL_EXPORT ViaView {
  std::string_view host;
  std::string_view branch;    // empty: none
  std::string_view received;  // without brackets; empty: none
  Transport transport = Transport::kUnknown;
  std::uint16_t port = 0;   // 0: none written
  std::uint16_t rport = 0;  // 0: none or without value

  // True for a branch that is unique to its transaction (RFC 3261 8.1.1.7).
  bool has_rfc3261_branch() const;
};

// Takes the next value off a Via list.
SIPHEAL_EXPORT ListStep NextVia(std::string_view* rest, ViaView* value);

}  // namespace sipheal::inline v0_1::sip
