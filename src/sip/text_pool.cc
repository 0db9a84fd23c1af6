// SPDX-License-Identifier: Apache-2.0
#include "sip/text_pool.h"

#include <algorithm>

namespace sipheal::inline v0_1::sip {

namespace {

unsigned KindOf(std::string_view text) {
  const std::size_t size = text.size();
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const std::uint32_t bytes = byte(size - 1) | byte(size / 2) << 8 | byte(size / 4 * 3) << 16 |
                              static_cast<std::uint32_t>(size & 0xff) << 24;
  return (bytes * 0x9e3779b1u) >> 24;
}

}  // namespace

TextId TextPool::Look(std::string_view text) {
  const unsigned kind = KindOf(text);
  const bool noted = AreKindsNoted();
  if (!noted || (kinds_[kind / 64] >> kind % 64 & 1) != 0) {
    const char* const begin = bytes_.data();
    const char* const end = begin + size_;
    for (const char* at = begin; at != end;) {
      std::uint16_t size;
      std::memcpy(&size, at, sizeof size);
      const char* const entry = at + sizeof size;
      if (SameText({entry, size}, text)) {
        return static_cast<TextId>(at - begin + 1);
      }
      at = entry + size;
    }
  }
  const TextId id = Append(text);
  if (noted) {
    NoteKind(kind);
    noted_ = size_;
  }
  return id;
}

bool TextPool::AreKindsNoted() {
  // A pool that came from elsewhere is mostly looked into but a few times.
  constexpr unsigned kWalks = 4;
  if (noted_ == size_) return true;
  if (++walks_ <= kWalks) return false;
  NoteKinds();
  return true;
}

void TextPool::NoteKinds() {
  while (noted_ != size_) {
    const std::string_view text = Get(static_cast<TextId>(noted_ + 1));
    NoteKind(KindOf(text));
    noted_ += sizeof(std::uint16_t) + text.size();
  }
}

TextId TextPool::Append(std::string_view text) {
  const std::size_t at = size_;
  if (!Fits(text)) {
    full_ = true;
    return 0;
  }
  const auto size = static_cast<std::uint16_t>(text.size());
  size_ += sizeof size + size;
  Reserve(size_);
  std::memcpy(bytes_.data() + at, &size, sizeof size);
  std::memcpy(bytes_.data() + at + sizeof size, text.data(), text.size());
  return static_cast<TextId>(at + 1);
}

void TextPool::Assign(std::string_view bytes) {
  Reserve(bytes.size());
  if (!bytes.empty()) std::memcpy(bytes_.data(), bytes.data(), bytes.size());
  size_ = bytes.size();
  full_ = false;
  kinds_ = {};
  noted_ = 0;
  walks_ = 0;
}

void TextPool::Reserve(std::size_t size) {
  constexpr std::size_t kFirst = 2048;
  if (bytes_.size() < size) bytes_.resize(std::max(2 * size, kFirst));
}

}  // namespace sipheal::inline v0_1::sip
