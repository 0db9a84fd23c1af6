// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/header_id.h"

#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

HeaderId Match(std::string_view name, std::string_view full, HeaderId id) {
  return EqualsIgnoreCase(name, full) ? id : HeaderId::kOther;
}

HeaderId FromCompact(char letter) {
  switch (Lower(letter)) {
    case 'i':
      return HeaderId::kCallId;
    case 'm':
      return HeaderId::kContact;
    case 'e':
      return HeaderId::kContentEncoding;
    case 'l':
      return HeaderId::kContentLength;
    case 'c':
      return HeaderId::kContentType;
    case 'f':
      return HeaderId::kFrom;
    case 'k':
      return HeaderId::kSupported;
    case 't':
      return HeaderId::kTo;
    case 'v':
      return HeaderId::kVia;
    case 'o':
      return HeaderId::kEvent;
    case 'x':
      return HeaderId::kSessionExpires;
    default:
      return HeaderId::kOther;
  }
}

}  // namespace

HeaderId HeaderIdFromName(std::string_view name) {
  if (name.empty()) return HeaderId::kOther;
  const char first = Lower(name[0]);
  switch (name.size()) {
    case 1:
      return FromCompact(first);
    case 2:
      return Match(name, "To", HeaderId::kTo);
    case 3:
      return Match(name, "Via", HeaderId::kVia);
    case 4:
      if (first == 'f') return Match(name, "From", HeaderId::kFrom);
      if (first == 'c') return Match(name, "CSeq", HeaderId::kCseq);
      if (first == 'j') return Match(name, "Join", HeaderId::kJoin);
      if (Lower(name[1]) == 's') return Match(name, "RSeq", HeaderId::kRseq);
      return Match(name, "RAck", HeaderId::kRack);
    case 5:
      if (first == 'r') return Match(name, "Route", HeaderId::kRoute);
      if (first == 'a') return Match(name, "Allow", HeaderId::kAllow);
      if (first == 'x') return Match(name, "X-CID", HeaderId::kOtherLegCallId);
      return Match(name, "Event", HeaderId::kEvent);
    case 6:
      return Match(name, "Min-SE", HeaderId::kMinSe);
    case 7:
      if (first == 'r') return Match(name, "Require", HeaderId::kRequire);
      if (first == 'e') return Match(name, "Expires", HeaderId::kExpires);
      if (Lower(name[1]) == 'a') return Match(name, "Call-ID", HeaderId::kCallId);
      return Match(name, "Contact", HeaderId::kContact);
    case 8:
      return Match(name, "Replaces", HeaderId::kReplaces);
    case 9:
      if (first == 'r') return Match(name, "Refer-Sub", HeaderId::kReferSub);
      if (first == 'x') return Match(name, "X-Call-ID", HeaderId::kOtherLegCallId);
      return Match(name, "Supported", HeaderId::kSupported);
    case 10:
      return Match(name, "Session-ID", HeaderId::kSessionId);
    case 12:
      if (first == 'r') return Match(name, "Record-Route", HeaderId::kRecordRoute);
      if (first == 'm') return Match(name, "Max-Forwards", HeaderId::kMaxForwards);
      return Match(name, "Content-Type", HeaderId::kContentType);
    case 13:
      return Match(name, "Authorization", HeaderId::kAuthorization);
    case 14:
      return Match(name, "Content-Length", HeaderId::kContentLength);
    case 15:
      return Match(name, "Session-Expires", HeaderId::kSessionExpires);
    case 16:
      if (first == 'w') return Match(name, "WWW-Authenticate", HeaderId::kWwwAuthenticate);
      return Match(name, "Content-Encoding", HeaderId::kContentEncoding);
    case 17:
      return Match(name, "P-Charging-Vector", HeaderId::kChargingVector);
    case 18:
      if (first == 'p') return Match(name, "Proxy-Authenticate", HeaderId::kProxyAuthenticate);
      return Match(name, "Subscription-State", HeaderId::kSubscriptionState);
    case 19:
      if (first == 'p') return Match(name, "Proxy-Authorization", HeaderId::kProxyAuthorization);
      return Match(name, "Content-Disposition", HeaderId::kContentDisposition);
    default:
      return HeaderId::kOther;
  }
}

}  // namespace sipheal::inline v0_1::sip
