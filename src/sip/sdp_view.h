// SPDX-License-Identifier: Apache-2.0
// A session description read in place: what ParseSdp copies out, as views into the text.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

struct SdpMediaView {
  std::string_view type;
  std::string_view protocol;
  std::string_view formats;
  std::string_view address;
  std::string_view lines;  // what follows its m= line, up to the next
  std::uint16_t port = 0;
  SdpDirection direction = SdpDirection::kSendRecv;
};

struct SdpOrigin {
  std::string_view user;
  std::string_view session_id;
  std::string_view version;
  std::string_view net_type;
  std::string_view address_type;
  std::string_view address;
};

// Reads the value of an o= line.
SdpOrigin ReadOrigin(std::string_view value);

class SdpView {
 public:
  // Reads all of `text`, in place of what was read before.
  void Read(std::string_view text);

  bool has_origin() const { return has_origin_; }
  // Value of the first o= line.
  std::string_view origin() const { return origin_; }
  const std::vector<SdpMediaView>& media() const { return media_; }
  // Of the first active line, audio before others; without one that of the session.
  SdpDirection direction() const { return direction_; }
  const MediaSecurity& security() const { return security_; }
  // An active m= line with c=0.0.0.0 (rule 9.6).
  bool zero_connection() const { return zero_connection_; }
  // Writes all but the origin over what is there, whose memory is kept.
  void CopyTo(SdpSummary* summary) const;

 private:
  std::string_view origin_;
  std::string_view address_;
  std::vector<SdpMediaView> media_;
  SdpDirection direction_ = SdpDirection::kSendRecv;
  MediaSecurity security_;
  bool has_origin_ = false;
  bool zero_connection_ = false;
};

void CopyOrigin(const SdpOrigin& origin, SdpSummary* summary);

}  // namespace sipheal::inline v0_1::sip
