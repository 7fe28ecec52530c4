module facenet-serving/onenode/pause

go 1.26.0

tool facenet-serving/onenode/pause
