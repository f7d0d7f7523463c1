// How containers on http:// and https:// are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nwc {

// Proxies and name lookup follow libcurl's own environment (https_proxy, no_proxy); certificates
// are checked against the system's, or CURL_CA_BUNDLE or SSL_CERT_FILE.
struct RemoteOptions {
  int connect_timeout_ms = 10'000;
  int stall_timeout_s = 20;  // without a byte for so long a try has failed
  // After a broken connection, a timeout, 408, 429 or 5xx; each goes on after the bytes already
  // here. The pause doubles from the first to the longest, Retry-After may ask for up to a minute.
  int retries = 5;
  int first_pause_ms = 200;
  int longest_pause_ms = 10'000;
  size_t parallel_ranges = 8;  // requests at once, each on a connection of its own

  // Signs requests as S3 wants it, in the form of CURLOPT_AWS_SIGV4, for instance
  // "aws:amz:eu-central-1:s3", with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where set,
  // AWS_SESSION_TOKEN of the environment. Empty: unsigned. Signed requests follow no redirect.
  std::string aws_sigv4;
  std::vector<std::string> headers;  // "Name: value"; go to where a redirect leads, too

  // Chunks whose hash was right are kept here for other loads and processes. Empty: NWC_CACHE of
  // the environment, or no cache. Whoever may write there may change what is loaded.
  std::string cache_folder;
  uint64_t cache_bytes = uint64_t{16} << 30;  // the oldest used go first
};

}  // namespace nwc
