// SPDX-License-Identifier: Apache-2.0
// How a stored dialog's values stand in its bytes: numbers as varints, texts as a size and bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "sip/copy_text.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::sip::codec {

// No list in a dialog is longer; a longer one is damage.
inline constexpr std::uint64_t kMaxList = 4096;

// Writes into a string in place of what is there, without an allocation once it is large enough.
class ByteWriter {
 public:
  explicit ByteWriter(std::string* out) : out_(*out) {
    out_.resize(out_.capacity());
    Locate(0);
  }
  ByteWriter(const ByteWriter&) = delete;
  ByteWriter& operator=(const ByteWriter&) = delete;
  // The string then ends with what was written last.
  ~ByteWriter() { out_.resize(size()); }

  void Bytes(std::string_view bytes) {
    Reserve(bytes.size());
    CopyText(at_, bytes);
    at_ += bytes.size();
  }
  void Number(std::uint64_t value) {
    Reserve(kMaxNumber);
    PutNumber(value);
  }
  void Text(std::string_view text) {
    Reserve(kMaxNumber + text.size());
    PutNumber(text.size());
    CopyText(at_, text);
    at_ += text.size();
  }
  void Flag(bool flag) { Number(flag ? 1 : 0); }
  void Time(CaptureTime time) {
    Number(static_cast<std::uint64_t>(time.time_since_epoch().count()));
  }
  void Texts(const std::vector<std::string>& texts) {
    Number(texts.size());
    for (const std::string& text : texts) Text(text);
  }

  // A text that is written piece by piece: gives where it begins, for EndText.
  std::size_t BeginText() {
    Reserve(1);
    ++at_;  // its size, most often
    return size();
  }
  // Puts the size in front of what was written since; gives that text, valid until more is written.
  std::string_view EndText(std::size_t begin) {
    Reserve(kMaxNumber);
    const std::size_t bytes = size() - begin;
    std::size_t digits = 1;
    while (bytes >> (7 * digits) != 0) ++digits;
    char* const text = out_.data() + begin;
    if (digits > 1) std::memmove(text + digits - 1, text, bytes);
    at_ = text - 1;
    PutNumber(bytes);
    at_ += bytes;
    return {at_ - bytes, bytes};
  }

 private:
  static constexpr std::size_t kMaxNumber = 10;

  std::size_t size() const { return static_cast<std::size_t>(at_ - out_.data()); }
  void Locate(std::size_t size) {
    at_ = out_.data() + size;
    end_ = out_.data() + out_.size();
  }
  void Reserve(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - at_) < bytes) [[unlikely]]
      Grow(bytes);
  }
  void Grow(std::size_t bytes) {
    constexpr std::size_t kFirst = 2048;
    const std::size_t written = size();
    out_.resize(std::max({kFirst, 2 * out_.size(), written + bytes}));
    Locate(written);
  }
  void PutNumber(std::uint64_t value) {
    while (value >= 0x80) {
      *at_++ = static_cast<char>(value | 0x80);
      value >>= 7;
    }
    *at_++ = static_cast<char>(value);
  }

  std::string& out_;
  char* at_;
  char* end_;
};

// Reads bytes that may be damaged or hostile: after the first thing that is not right, ok() is
// false and everything reads as nothing.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t Number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    Break();
    return 0;
  }
  // A number that must not be above `limit`.
  std::uint64_t Below(std::uint64_t limit) {
    const std::uint64_t value = Number();
    if (value <= limit) return value;
    Break();
    return 0;
  }
  std::string_view View(std::size_t size) {
    if (size > rest_.size()) {
      Break();
      return {};
    }
    const std::string_view view = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return view;
  }
  std::string_view Text() { return View(Number()); }
  bool Flag() { return Below(1) == 1; }
  CaptureTime Time() {
    return CaptureTime(std::chrono::microseconds(static_cast<std::int64_t>(Number())));
  }
  void Texts(std::vector<std::string>& texts) {
    texts.clear();
    for (std::uint64_t left = Below(kMaxList); left > 0 && ok_; --left) texts.emplace_back(Text());
  }
  bool ok() const { return ok_; }
  bool empty() const { return rest_.empty(); }

 private:
  void Break() {
    ok_ = false;
    rest_ = {};
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace sipheal::inline v0_1::sip::codec
