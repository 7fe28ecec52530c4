module facenet-serving/onenode/skipper

go 1.26.0

tool github.com/zalando/skipper/cmd/skipper

require github.com/zalando/skipper v0.23.0
