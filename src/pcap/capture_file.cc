// SPDX-License-Identifier: Apache-2.0
#include "pcap/capture_file.h"

#include <pcap/pcap.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "pcap/pcapng_file.h"

namespace sipheal::inline v0_1::pcap {
namespace {

// libpcap reads pcap in all its dialects. Of pcapng it refuses files whose interfaces differ in
// link type or snap length, which are common: these PcapngFile reads.
class PcapFile final : public CaptureFile {
 public:
  explicit PcapFile(pcap_t* capture) : capture_(capture) {}
  ~PcapFile() override { pcap_close(capture_); }
  PcapFile(const PcapFile&) = delete;
  PcapFile& operator=(const PcapFile&) = delete;

  std::optional<Frame> Next() override {
    pcap_pkthdr* header = nullptr;
    const unsigned char* data = nullptr;
    const int result = pcap_next_ex(capture_, &header, &data);
    if (result != 1) {
      if (result != PCAP_ERROR_BREAK) {
        const long at = std::ftell(pcap_file(capture_));
        damage_ = absl::StrFormat("%s (before byte %d)", pcap_geterr(capture_), at < 0 ? 0 : at);
      }
      return std::nullopt;
    }
    Frame frame;
    frame.time = sip::CaptureTime(std::chrono::seconds(header->ts.tv_sec)) +
                 std::chrono::microseconds(header->ts.tv_usec);
    frame.link_type = pcap_datalink(capture_);
    frame.bytes = {reinterpret_cast<const char*>(data), header->caplen};
    return frame;
  }
  std::string damage() const override { return damage_; }

 private:
  pcap_t* capture_;
  std::string damage_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CaptureFile>> OpenCapture(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  const int first = file != nullptr ? std::getc(file) : EOF;
  if (file == nullptr || (first == EOF && std::ferror(file) != 0)) {
    const int error = errno;
    if (file != nullptr) std::fclose(file);
    const std::string text =
        absl::StrFormat("%s: cannot be read: %s: check path and rights", path, strerror(error));
    return error == ENOENT ? absl::NotFoundError(text) : absl::InvalidArgumentError(text);
  }
  if (first == EOF) {
    std::fclose(file);
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: is empty: was the capture stopped before anything came?", path));
  }
  std::ungetc(first, file);
  // No pcap begins with this byte, and every pcapng does.
  if (first == '\n') return std::make_unique<PcapngFile>(file);
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  pcap_t* const capture = pcap_fopen_offline(file, error.data());  // owns the file from here on
  if (capture == nullptr) {
    std::fclose(file);
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: is no pcap or pcapng file (byte 0): %s: convert it with editcap -F pcapng", path,
        error.data()));
  }
  return std::make_unique<PcapFile>(capture);
}

std::string LinkTypeName(int link_type) {
  const char* const name = pcap_datalink_val_to_name(link_type);
  return name != nullptr ? std::string(name) : absl::StrFormat("%d", link_type);
}

}  // namespace sipheal::inline v0_1::pcap
